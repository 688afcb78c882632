import { Credentials } from "../credentials";

export default function SignUp() {
  return (
    <main>
      <h1>Sign up</h1>
      <Credentials action="register" submit="Sign up" />
    </main>
  );
}
